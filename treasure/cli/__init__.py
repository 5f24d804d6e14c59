"""The console program `treasure`: look at files and runs, compare, convert, start a task."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from treasure.errors import TreasureError

__all__ = ["app", "commands", "main"]

commands = typer.Typer(
    name="treasure",
    help="Look at files, configurations and runs of TREASURE, compare files, convert them from and "
    "to formats of others, and start a task of your own. "
    "The workflow itself runs with `law run`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@commands.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="A file, or the folder of an artefact or release.")],
    rows: Annotated[int, typer.Option(help="How many rows to show.", min=0)] = 5,
) -> None:
    """What a file is, how much is in it, its first rows, and where it comes from.

    ROOT files, jet tables (HDF5) with the ranges and sentinels of their columns, skims and token
    tables (parquet), tokenizers, filesets, cutflows, stage folders and releases.
    """
    from treasure.cli.inspection import inspect_path

    inspect_path(path, rows)


@commands.command()
def diff(
    a: Annotated[Path, typer.Argument(help="A jet table (HDF5), or a parquet table.")],
    b: Annotated[Path, typer.Argument(help="Another one, ours or a public one.")],
    ulp: Annotated[
        int,
        typer.Option(
            help="Floating-point numbers that are so many steps apart (units in the last place)"
            " count as equal.",
            min=0,
        ),
    ] = 0,
    match: Annotated[
        Literal["auto", "order", "event"],
        typer.Option(
            help="Which rows belong together: the first and the first (order), or those of one run,"
            " luminosity block, event and jet number (event). auto: by event if more rows agree so."
        ),
    ] = "auto",
    attributes: Annotated[
        bool, typer.Option("--attributes", help="Compare the attributes, too.")
    ] = False,
    order_matters: Annotated[
        bool,
        typer.Option(
            "--order-matters",
            help="Candidates of equal pt in another order are a difference; without this, they are"
            " reported, and equal.",
        ),
    ] = False,
) -> None:
    """Compare two tables column by column, down to the last bit.

    For each column: how many rows and values differ, the greatest difference (absolute, relative,
    in ulp), and the first row that differs. A last line says whether the tables are equal. −0 is
    not 0, and NaN is itself only. Candidates of equal pt have no order of their own: a jet in
    which only these changed places is equal. The keys label and split, which public files do not
    have, may be missing in one of them.

    Exit status: 0 equal, 1 different, 2 not comparable.
    """
    from treasure.cli.comparison import diff_files

    try:
        equal = diff_files(
            a, b, ulp=ulp, match=match, attributes=attributes, order_matters=order_matters
        )
    except TreasureError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    if not equal:
        raise typer.Exit(1)


@commands.command()
def compress(
    path: Annotated[Path, typer.Argument(help="A token table (parquet).")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Default: <stem>.compressed.parquet beside it."),
    ] = None,
    variant: Annotated[
        Literal["static", "rank", "previous", "order_free"],
        typer.Option(
            help="What the probability of an id depends on: nothing, the place of its particle in"
            " the jet, the id before it, or that of the particles as a set."
        ),
    ] = "previous",
    order: Annotated[
        Literal["stored", "rebuilt"],
        typer.Option(
            help="Of the particles of a jet (order_free). rebuilt: by falling pT of their ids; what"
            " was stored otherwise is lost."
        ),
    ] = "stored",
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="Folder of the tokenizer, for the pT of each id; order_free needs it."),
    ] = None,
) -> None:
    """Compress a token table with an entropy coder, losslessly; checked by decoding it again."""
    from treasure.cli.compression import compress_file

    compress_file(path, output, variant, order, tokenizer)


@commands.command()
def decompress(
    path: Annotated[Path, typer.Argument(help="A compressed token table.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: <stem>.parquet beside it.")
    ] = None,
) -> None:
    """Write the token table that was compressed."""
    from treasure.cli.compression import decompress_file

    decompress_file(path, output)


@commands.command()
def config(
    name: Annotated[
        str, typer.Argument(help="A configuration in config/, or the path of a YAML file.")
    ] = "demo",
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="One-off change; repeatable."),
    ] = None,
    section: Annotated[str, typer.Option(help="Only what starts with this key.")] = "",
    describe: Annotated[
        bool, typer.Option(help="Say what each value means, with unit and source.")
    ] = True,
    as_yaml: Annotated[bool, typer.Option("--yaml", help="Plain YAML instead.")] = False,
    site: Annotated[
        str | None,
        typer.Option(help="A site instead: one in config/sites/, or the path of a YAML file."),
    ] = None,
) -> None:
    """The merged, validated configuration, or a site: each value, and the file that set it."""
    from treasure.cli.configuration import show_configuration, show_site

    if site is not None:
        show_site(site, section, describe=describe, as_yaml=as_yaml)
        return
    show_configuration(name, tuple(overrides or ()), section, describe=describe, as_yaml=as_yaml)


@commands.command()
def status(
    run: Annotated[
        str | None, typer.Argument(help="The --version of a run; default: the latest run.")
    ] = None,
    config: Annotated[
        str | None, typer.Option(help="Its configuration; default: the latest run of any.")
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="Where results are; default: $TREASURE_STORE, or ./data.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until the run is over.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """How far a run is: branches done, at work and failed, events or jets, rates, time left.

    Read from the store alone: works from any machine that sees it, for runs in a batch system, and
    after a run was killed.
    """
    from treasure.cli.status import show_status

    show_status(run, config, store, watch=watch, as_json=as_json)


_TOKENIZER = typer.Option(help="Folder of the tokenizer that made the tokens.")
_CODEBOOK = typer.Option(help="npz file with the codebook, where there is no tokenizer.")
_COLUMNS = typer.Option(
    help="heptokens: parquet file for columns that have no place in a token table; import writes"
    " it, export adds them again."
)
_NAMES = typer.Option("--name", metavar="N=NAME", help="What class N is called there; repeatable.")


@commands.command("export")
def export_(
    source: Annotated[
        Path, typer.Argument(help="A token table (parquet); for jetclass also a jet table (HDF5).")
    ],
    destination: Annotated[Path, typer.Argument(help="The file to write; for gabbro or a folder.")],
    dialect: Annotated[
        str,
        typer.Option(
            help="gabbro, heptokens, heptokens-npz or jetclass; or package.module:Class, one of"
            " your own."
        ),
    ],
    tokenizer: Annotated[Path | None, _TOKENIZER] = None,
    codebook: Annotated[Path | None, _CODEBOOK] = None,
    columns: Annotated[Path | None, _COLUMNS] = None,
    name: Annotated[list[str] | None, _NAMES] = None,
) -> None:
    """Write a table in the format of another project, and say what is lost.

    jetclass decodes tokens and needs the tokenizer; heptokens-npz holds the codebook and needs
    the tokenizer or the codebook. A tokenizer that did not make the tokens is refused.
    """
    from treasure.cli.dialects import export_table, parse_names
    from treasure.tokens.dialects import Options

    options = Options(
        tokenizer=tokenizer, codebook=codebook, columns=columns, names=parse_names(name or [])
    )
    export_table(source, destination, dialect, options)


@commands.command("import")
def import_(
    source: Annotated[
        Path, typer.Argument(help="A file of another project; or the folder of gabbro's tokenizer.")
    ],
    destination: Annotated[
        Path, typer.Argument(help="What to write: .h5 for jets, .parquet for tokens, or a folder.")
    ],
    dialect: Annotated[
        str | None,
        typer.Option(
            help="gabbro, heptokens, heptokens-npz, jetclass, aoj or nanoaod; or"
            " package.module:Class, one of your own; default: recognised."
        ),
    ] = None,
    tokenizer: Annotated[Path | None, _TOKENIZER] = None,
    codebook: Annotated[Path | None, _CODEBOOK] = None,
    vocabulary: Annotated[
        int | None, typer.Option(help="How many codes there are, where the file does not say it.")
    ] = None,
    label: Annotated[int | None, typer.Option(help="Class of all jets of the file.")] = None,
    name: Annotated[list[str] | None, _NAMES] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Name of the dataset; default: that of the file.")
    ] = None,
    split: Annotated[
        Literal["hash", "train", "val", "test", "unknown"] | None,
        typer.Option(
            help="The split of all jets, or hash: of their events, as in WriteH5. Default: what the"
            " file says, else hash for jets and unknown for tokens."
        ),
    ] = None,
    columns: Annotated[Path | None, _COLUMNS] = None,
    tree: Annotated[
        str | None, typer.Option(help="TTree of a ROOT file; default: the only one, or 'tree'.")
    ] = None,
) -> None:
    """Read a file of another project into a jet table, a token table or a tokenizer.

    Says what is lost, and what stands for what the file does not say.
    """
    from treasure.cli.dialects import import_table, parse_names
    from treasure.tokens.dialects import Options

    options = Options(
        tokenizer=tokenizer,
        codebook=codebook,
        vocabulary=vocabulary,
        label=label,
        names=parse_names(name or []),
        dataset=dataset,
        split=split,
        columns=columns,
        tree=tree,
    )
    import_table(source, destination, dialect, options)


@commands.command("new-task")
def new_task(
    name: Annotated[str, typer.Argument(help="Name of the task, such as CountJets.")],
    folder: Annotated[
        Path | None, typer.Option(help="Where to put it; default: custom/ of the project.")
    ] = None,
) -> None:
    """Start a task of your own: a module that runs, with its test, listed in law.cfg."""
    from treasure.cli.scaffold import create_task

    create_task(name, folder)


def main() -> Any:
    """Run the program; errors that a user can mend are said in their own words."""
    try:
        return commands()
    except TreasureError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


app = main
