"""Write the tables of docs/samplers.md anew: ``python -m tests.diffusion.samplers_page``."""

import re
from pathlib import Path

from reknit.diffusion.sampler import table

PAGE = Path(__file__).parents[2] / "docs" / "samplers.md"

if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    begin, end = "<!-- tables -->\n", "<!-- end of tables -->\n"
    new = re.sub(re.escape(begin) + ".*" + re.escape(end), lambda _: begin + table() + end, text, flags=re.S)
    PAGE.write_text(new, encoding="utf-8")
