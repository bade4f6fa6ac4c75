# ruff: noqa: F821 - it follows the program in the documents, whose names it uses.
from cqlib_guodun import GuodunApiError, GuodunAuthError
from expecting import correlated, mostly, refused

correlated(result.counts)
backend = platform.get_backend("tianyan176")
assert backend.num_qubits() == 66
assert backend.is_available()
assert "num_couplings=110" in str(backend.device_config().topology)
refused(lambda: GuodunPlatform.login("f" * 64, config=config), "API key", kind=GuodunAuthError)

many = backend.run_raw(["X Q0\nM Q6 Q0", "X Q0\nM Q0 Q6"] * 30, shots=100).wait(poll_interval_secs=0.1)
assert len(many) == 60
mostly(many[0].counts, "10")
mostly(many[59].counts, "01")
assert many[0].result_status[0] == [6, 0]

lab = platform.create_lab("mine")
experiment = platform.save_experiment(lab_id=lab.id, circuit="X Q0\nM Q0", device_name="tianyan176")
(flipped,) = experiment.run(shots=50).wait(poll_interval_secs=0.1)
mostly(flipped.counts, "1")
assert platform.verify_qcis("H Q0\nM Q0", "tianyan176")
assert platform.get_machine_config()

for call, *words in (
    (lambda: backend.run("H Q0\nM Q0", 1_000_000), "shots", "100000"),
    (lambda: backend.run("H Q0", 100), "must measure"),
    (lambda: backend.run("FOO Q0", 100), "line 1"),
    (lambda: backend.run("X Q3\nM Q3", 100), "disabled"),
    (lambda: backend.run("H Q0\nM Q0", 100, data_type="IQ"), "dataType"),
    (lambda: platform.submit("H Q0\nM Q0", shots=9, device_name="tianyan-999"), "tianyan-287"),
    (lambda: backend.create_waveform("H Q0\nM Q0"), "no pickles"),
):
    refused(call, *words, kind=GuodunApiError)
