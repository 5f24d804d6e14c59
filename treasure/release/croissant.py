"""The release in Croissant 1.1 (https://docs.mlcommons.org/croissant), made from its manifest.

One record set a dataset, one field a column. Every file is listed with its SHA-256; the record
sets read a FileSet of the same files without `containedIn`, because mlcroissant 1.1.1 yields no
records, silently, from one with it. The split is read from the column and refers to an enumeration
of splits; read from the path it would lose its value in mlcroissant's join.
"""

import re
from typing import Any

from treasure.release.layout import PARQUET_MEDIA_TYPE, TOKENS
from treasure.release.manifest import Column, Manifest

__all__ = ["croissant"]

_CONFORMS_TO = "http://mlcommons.org/croissant/1.1"

# Croissant 1.1, appendix 1; mlcroissant wants every term in the context, used or not.
_TERMS = (
    "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field",
    "fileObject", "fileProperty", "fileSet", "format", "includes", "isArray", "isLiveDataset",
    "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex", "repeated",
    "replace", "samplingRate", "separator", "source", "subField", "transform",
)  # fmt: skip
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    **{term: f"cr:{term}" for term in _TERMS},
}

_SPLITS = "_splits"  # no dataset name begins with '_'
_SPLIT_URLS = {
    "train": "cr:TrainingSplit",
    "val": "cr:ValidationSplit",
    "test": "cr:TestSplit",
}
_IDENTITY = ("run", "luminosityBlock", "event", "jet_index")
_DATA_TYPES = {
    "bool": "sc:Boolean",
    "int8": "cr:Int8",
    "int16": "cr:Int16",
    "int32": "cr:Int32",
    "int64": "cr:Int64",
    "uint8": "cr:UInt8",
    "uint16": "cr:UInt16",
    "uint32": "cr:UInt32",
    "uint64": "cr:UInt64",
    "halffloat": "cr:Float16",
    "float": "cr:Float32",
    "double": "cr:Float64",
}
_MEDIA_TYPES = {
    ".html": "text/html",
    ".json": "application/json",
    ".parquet": PARQUET_MEDIA_TYPE,
    ".png": "image/png",
}


def croissant(manifest: Manifest) -> dict[str, Any]:
    """Croissant description of a release as a JSON-LD document.

    Parameters
    ----------
    manifest
        With the files that the description shall list.
    """
    datasets = [name for name in manifest.datasets if manifest.rows(name)]
    document: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": _CONFORMS_TO,
        "name": manifest.title,
        "alternateName": manifest.name,
        "description": manifest.description,
        "license": f"https://spdx.org/licenses/{manifest.licence}.html",
        "version": _semantic_version(manifest.version),
        "creator": [{"@type": "sc:Person", "name": author} for author in manifest.authors],
        "citeAs": manifest.citation,
        "keywords": manifest.keywords,
        "datePublished": manifest.date_published,
        "url": manifest.url,
        "isBasedOn": manifest.derived_from,
        "prov:wasDerivedFrom": [{"@id": _iri(source)} for source in manifest.derived_from],
        "distribution": [_file_object(manifest, path) for path in sorted(manifest.files)]
        + [_file_set(name) for name in datasets],
        "recordSet": [_enumeration()] + [_record_set(manifest, name) for name in datasets],
    }
    return {key: value for key, value in document.items() if value not in (None, [])}


def _semantic_version(version: str) -> str:
    """`v1` → `1.0.0`; what has no number in front becomes build metadata, `0.0.0+name`."""
    found = re.fullmatch(r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?", version)
    if found:
        return ".".join(str(int(part or 0)) for part in found.groups())
    return "0.0.0+" + re.sub(r"[^0-9A-Za-z]+", "-", version).strip("-")


def _iri(source: str) -> str:
    return f"https://doi.org/{source}" if source.startswith("10.") else source


def _file_object(manifest: Manifest, path: str) -> dict[str, Any]:
    file = manifest.files[path]
    suffix = "." + path.rsplit(".", 1)[-1]
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path,
        "contentUrl": path,
        "contentSize": f"{file.size} B",
        "encodingFormat": _MEDIA_TYPES.get(suffix, "application/octet-stream"),
        "sha256": file.sha256,
    }


def _file_set(dataset: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": f"{TOKENS}/{dataset}",
        "name": f"{TOKENS}/{dataset}",
        "description": f"Token tables of {dataset}.",
        "encodingFormat": PARQUET_MEDIA_TYPE,
        "includes": f"{TOKENS}/{dataset}/*/*.parquet",
    }


def _enumeration() -> dict[str, Any]:
    name, url = f"{_SPLITS}/name", f"{_SPLITS}/url"
    return {
        "@type": "cr:RecordSet",
        "@id": _SPLITS,
        "name": _SPLITS,
        "description": "The splits: training, validation, test.",
        "dataType": ["sc:Enumeration", "cr:Split"],
        "key": {"@id": name},
        "field": [
            {"@type": "cr:Field", "@id": name, "name": "name", "dataType": "sc:Text"},
            {"@type": "cr:Field", "@id": url, "name": "url", "dataType": ["sc:URL", "cr:Split"]},
        ],
        "data": [{name: split, url: term} for split, term in _SPLIT_URLS.items()],
    }


def _record_set(manifest: Manifest, dataset: str) -> dict[str, Any]:
    columns = manifest.schemas["tokens"]
    return {
        "@type": "cr:RecordSet",
        "@id": dataset,
        "name": dataset,
        "description": f"{manifest.rows(dataset)} rows of {dataset}, one a {manifest.row}.",
        "key": [{"@id": f"{dataset}/{c.name}"} for c in columns if c.name in _IDENTITY],
        "field": [_field(dataset, column) for column in columns],
    }


def _field(dataset: str, column: Column) -> dict[str, Any]:
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{dataset}/{column.name}",
        "name": column.name,
        "description": column.description or column.name,
        "source": {
            "fileSet": {"@id": f"{TOKENS}/{dataset}"},
            "extract": {"column": column.name},
        },
    }
    if column.name == "split":
        field["references"] = {"field": {"@id": f"{_SPLITS}/name"}}
    inner, shape = _array(column.type)
    if shape:
        field |= {"isArray": True, "arrayShape": ",".join(map(str, shape))}
    field["dataType"] = _DATA_TYPES.get(inner, "sc:Text")
    return field


def _array(type_: str) -> tuple[str, list[int]]:
    """Element type and shape of an Arrow type: `list<element: int32>` → `int32`, [-1]."""
    shape: list[int] = []
    while found := re.fullmatch(r"(?:large_|fixed_size_)?list<[^:]+: (.*)>(?:\[(\d+)\])?", type_):
        shape.append(int(found[2] or -1))
        type_ = found[1].removesuffix(" not null")
    return type_, shape
