"""What leaves this machine: the public copy of a run, documents, files for machines.

>>> import audit
>>> [path.name for path in audit.exports.export(audit.runs_in()[-1], ["csv"])]
['rates.csv']
"""

from __future__ import annotations

from audit.report.exports.kinds import KINDS, export, failed
from audit.report.exports.public import told, write_public

__all__ = ["KINDS", "export", "failed", "told", "write_public"]
