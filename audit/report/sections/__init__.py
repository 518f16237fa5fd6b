"""What the report shows: one small module a topic, between the figures and the report.

A section of its own, such as that of a probe, is a module with a ``SECTION``::

    def tell(run: Run) -> Sequence[Block]:
        '''What it shows of a run, top to bottom; nothing if that was not asked.'''
        asked = tasks_of(run, "retrieval")
        return [_WHAT, *(_of_task(run, task) for task in asked)] if asked else ()

    SECTION: Final = Section("retrieval", probe_would("retrieval"), tell)

named once in ``_OWN`` of ``registry.py``, under the probe's kind (another package offers its own by
the entry point group ``clip_audit.sections``). The template needs no change: it
prints ``section("retrieval")``.
``thresholds.py`` is one to look at; ``measures_section.py`` of the kit has the cells of MEASURES.

Topics that the template itself tells in words (``TOPICS``) offer it functions instead.
"""
