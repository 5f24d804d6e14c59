"""A dialect of one's own: one line of text a jet."""

from pathlib import Path

from treasure.tokens.dialects.blocks import token_blocks
from treasure.tokens.dialects.dialect import Dialect, Options, Report
from treasure.tokens.table import TokenTable


class Lines(Dialect):
    """Codes of a jet, with blanks between them."""

    def write(self, source: Path, path: Path, options: Options) -> Report:
        report = Report(files=[path], losses=["everything but the codes"])
        with TokenTable(source) as table, path.open("w") as file:
            for block in token_blocks(table):
                first = 0
                for count in block.counts.tolist():
                    file.write(" ".join(map(str, block.ids[first : first + count])) + "\n")
                    first += count
                report.jets += len(block)
                report.particles += len(block.ids)
        return report
