import json


def members(toy, name="default"):
    return json.loads((toy.runs / "sweeps" / name / "sweep.json").read_text())


def test_a_failed_member_does_not_stop_the_others_and_is_told_at_the_end(toy):
    body = """
        if cfg.seed == 1: raise RunError("seed 1 is bad")
        if cfg.seed == 2: raise KeyError("oops")
        return cfg.seed / 10
    """
    code, _, errors = toy.run(body, "-m", "seed=0,1,2,3")
    assert code == 1
    assert [row[1] for row in toy.trace] == ["0", "1", "2", "3"]
    assert [(m["status"], m["value"], m["error"]) for m in members(toy)] == [
        ("finished", 0.0, None),
        ("failed", None, "seed 1 is bad"),
        ("failed", None, "KeyError: 'oops'"),
        ("finished", 0.3, None),
    ]
    assert "2 of 4 runs finished" in errors
    assert errors.count("Traceback") == 1  # only of the fault that is the program's


def test_a_reason_that_several_members_share_is_told_once_at_the_end(toy):
    code, _, errors = toy.run('if cfg.seed: raise RunError("no data")', "-m", "seed=0,1,2")
    assert code == 1
    assert "failed: seed=1; seed=2\n    no data\n" in errors.partition("1 of 3 runs finished")[2]


def test_the_record_names_each_members_run_folder_before_it_runs(toy):
    body = """
        import json
        (record,) = json.loads((Path(cfg.run.root) / "sweeps/default/sweep.json").read_text())
        assert record["status"] == "planned"
        assert record["folder"] == f"{cfg.run.root}/default/{cfg.run.name}", record
    """
    code, _, errors = toy.run(body, "-m", "seed=4")
    assert code == 0, errors


def test_nothing_runs_while_one_member_is_impossible(toy):
    code, _, errors = toy.run("pass", "-m", "modal=av,a", "modal.dropout=0.1,0")
    assert (code, toy.trace) == (2, [])
    assert errors == (
        "modal.dropout=0.1: it leaves out picture or sound at random, and modal.name=a has only one of them. "
        "Write modal=av or modal.dropout=0.\n"
    )


def test_two_members_in_one_folder_are_refused(toy):
    code, _, errors = toy.run("pass", "-m", "data.workers=1,2")
    one, two = (f"'run.root={toy.runs} data.workers={number}'" for number in (1, 2))
    assert (code, toy.trace) == (2, [])
    assert errors == f"{one} and {two} would be the same run: nothing that differs changes results.\n"


def test_an_interval_is_no_axis_of_a_grid(toy):
    code, _, errors = toy.run("pass", "-m", "optimizer.eps=interval(0,1)")
    assert code == 2
    assert errors == (
        "optimizer.eps: a grid needs single values, and this is an interval. "
        "Name values, or use hydra/sweeper=optuna.\n"
    )


def test_wrong_settings_of_a_launcher_are_told_before_anything_runs(toy):
    code, _, errors = toy.run("pass", "-m", "seed=1", "hydra/launcher=slurm", "hydra.launcher.partitoin=gpu")
    assert code == 2
    assert errors == (
        "hydra.launcher.partitoin: SlurmLauncher takes no argument 'partitoin'. Did you mean 'partition'?\n"
    )


def test_a_sweep_file_needs_no_flag_and_names_the_experiment(toy):
    (toy.folder / "mine/sweep").mkdir(parents=True)
    (toy.folder / "mine/sweep/two.yaml").write_text(
        "# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      seed: 0,1\n      modal: a,v\n"
    )
    code, _, errors = toy.run("pass", "--config-dir", "mine", "sweep=two", "modal=v")
    assert code == 0, errors
    assert [row[0].rpartition("-")[0] for row in toy.trace] == ["tiny-v-regression-s0", "tiny-v-regression-s1"]
    assert [m["folder"].split("/")[-2] for m in members(toy, "two")] == ["two", "two"]


def test_a_second_driver_of_the_same_sweep_is_refused(toy):
    first = toy.start("time.sleep(30)", "-m", "seed=0")
    while not toy.trace:
        assert first.poll() is None
    code, _, errors = toy.run("pass", "-m", "seed=1")
    first.kill()
    first.communicate()
    assert code == 2
    assert errors == f"{toy.runs}/sweeps/default: another process is running this sweep. Wait for it, or stop it.\n"


def test_a_member_that_is_told_to_leave_stops_the_sweep_with_its_exit_code(toy):
    code, _, _ = toy.run("raise SystemExit(75)", "-m", "seed=0,1")
    assert (code, len(toy.trace)) == (75, 1)
