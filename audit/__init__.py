"""clip-audit: assess disparities in CLIP models.

A suite asks a model questions about pictures of people. Each question is a probe; a probe writes
outcomes, one row a picture. Outcomes are counted into tallies per group; tallies give rates;
comparing rates gives disparities, with intervals and tests; findings say in words which disparities
matter and how sure we are; a report is a finished run, rendered.
"""
