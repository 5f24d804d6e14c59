"""How far runs are: records that running stages leave in the store, and what they add up to.

Below ``$TREASURE_STORE/.progress/`` every branch that runs or failed has a record, every stage a
list of what its finished branches counted, and every run a plan of its stages. All of it is a
courtesy: what is complete is told by ``manifest.json`` alone, and nothing fails, or differs by a
byte, if records are lost, stale, damaged or cannot be written.
"""
