from treasure.benchmark.provenance import cutflow_table, dataset_histories


def skim(dataset, jets, files):
    cutflow = [{"cut": "all", "jets": 2 * jets}, {"cut": "pt", "jets": jets}]
    return {"summary": {"dataset": dataset, "cutflow": cutflow, "files": files}}


def test_the_branches_of_a_dataset_are_summed():
    chain = [
        {"task": "CreateFileset", "outputs": [{"summary": {"files": 2}}]},
        {"task": "SkimJets", "outputs": [skim("qcd", 5, ["a"]), skim("qcd", 7, ["b"])]},
        {"task": "SkimJets", "outputs": [skim("ttbar", 1, ["c"])]},
    ]
    found = dataset_histories({"chain": chain})
    assert list(found) == ["qcd", "ttbar"]
    assert found["qcd"]["sources"] == ["a", "b"]
    assert found["qcd"]["cutflow"] == [{"cut": "all", "jets": 24}, {"cut": "pt", "jets": 12}]


def test_what_is_said_of_a_dataset_comes_before_what_is_found():
    given = {"qcd": {"cutflow": {"all": 10}, "sources": ["x"]}}
    chain = [skim("qcd", 5, ["a"])]
    found = dataset_histories({"datasets": given, "chain": chain})["qcd"]
    assert found["cutflow"] == {"all": 10} and found["sources"] == ["x"]


def test_cutflows_of_several_forms_are_tables():
    expected = (["cut", "jets"], [["all", 2], ["pt", 1]])
    assert cutflow_table([{"cut": "all", "jets": 2}, {"cut": "pt", "jets": 1}]) == expected
    assert cutflow_table({"all": {"jets": 2}, "pt": {"jets": 1}}) == expected
    assert cutflow_table({"all": 2}) == (["cut", "passed"], [["all", 2]])
    for strange in (None, "text", 3, [], [1, 2], {}):
        assert cutflow_table(strange) is None


def test_nothing_known_is_no_error():
    for nothing in ({}, {"chain": None}, {"datasets": None, "chain": "?"}, {"chain": [1, "a", {}]}):
        assert dataset_histories(nothing) == {}
