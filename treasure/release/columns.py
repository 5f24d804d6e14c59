"""What the columns of a token table mean, in words for readers."""

import pyarrow as pa

__all__ = ["column_description", "type_name"]

_MEANINGS = {
    "run": "run number",
    "luminosityBlock": "luminosity block number",
    "event": "event number",
    "jet_index": "number of the jet among the rows of its event",
    "label": "class of the row; negative: not labelled",
    "split": "train, val or test; all rows of an event have the same",
    "jet_pt": "transverse momentum of the jet, GeV",
    "jet_eta": "pseudorapidity of the jet",
    "jet_phi": "azimuthal angle of the jet, rad",
    "jet_msoftdrop": "soft-drop mass of the jet, GeV; -1: none",
    "n_constituents": "number of constituents of the jet",
    "tokens": "token ids, one a constituent, in the order of the constituents",
}


def column_description(field: pa.Field) -> str:
    """Meaning of a column: what the file says of it, else what is known of its name."""
    own = (field.metadata or {}).get(b"description", b"").decode()
    return own or _MEANINGS.get(field.name, "")


def type_name(kind: pa.DataType) -> str:
    """Arrow type of the values of a column; how they are encoded does not matter to a reader."""
    return str(kind.value_type if pa.types.is_dictionary(kind) else kind)
