"""How fast chatllm is: `python -m bench`; docs/performance.md says how it is measured, and what came out.

`stand.py` is where all of it is measured, `processes.py` runs and times commands, `instant_server.py` is the
provider; `figures.py`, `report.py` and `plots.py` show what came out. Each other module measures what it is
named after.
"""

from pathlib import Path

ROOT = Path(__file__).parent.parent
