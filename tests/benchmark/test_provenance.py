from treasure.benchmark.provenance import cutflow_table, dataset_histories


def test_what_is_said_of_each_dataset_by_name():
    given = {"ttbar": {"cutflow": {"all": 10}, "sources": ["x"]}, "qcd": "as in demo.yaml"}
    found = dataset_histories({"datasets": given})
    assert list(found) == ["qcd", "ttbar"]
    assert found["ttbar"] == {"cutflow": {"all": 10}, "sources": ["x"], "configuration": None}
    assert found["qcd"] == {"cutflow": None, "sources": None, "configuration": "as in demo.yaml"}


def test_cutflows_of_several_forms_are_tables():
    expected = (["cut", "jets"], [["all", 2], ["pt", 1]])
    assert cutflow_table([{"cut": "all", "jets": 2}, {"cut": "pt", "jets": 1}]) == expected
    assert cutflow_table({"all": {"jets": 2}, "pt": {"jets": 1}}) == expected
    assert cutflow_table({"all": 2}) == (["cut", "passed"], [["all", 2]])
    for strange in (None, "text", 3, [], [1, 2], {}):
        assert cutflow_table(strange) is None


def test_nothing_known_is_no_error():
    for nothing in ({}, {"chain": []}, {"datasets": None}, {"datasets": {}}):
        assert dataset_histories(nothing) == {}
