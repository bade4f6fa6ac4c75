# ruff: noqa: F821 - it follows the program in the documents, whose names it uses.
from expecting import correlated, refused

correlated(result.counts)
backend = platform.get_backend("tianyan176")
assert backend.num_qubits() == 66
assert backend.is_available()
assert str(backend.device_type) == "superconducting"
device = backend.device_config()
assert "num_couplings=108" in str(device.topology)  # Those of the disabled qubit are left out.
first, second = backend.run(["X Q0\nM Q6 Q0", "X Q0\nM Q0 Q6"], shots=200, calibration_mode="disabled").wait(poll_interval=0.1)
assert str(first.qubits) == "[Qubit(6), Qubit(0)]"
(share,) = [string for string, number in first.counts.items() if number > 140]
(other,) = [string for string, number in second.counts.items() if number > 140]
assert {share, other} == {"01", "10"}

refused(lambda: TianyanPlatform.login("f" * 64, domain="localhost:8500", save_credentials=False), "API key is not known")
refused(lambda: backend.run(["H Q0\nM Q0"], 1_000_000), "shots = 1000000", "100000")
refused(lambda: backend.run(["H Q0"], 100), "must measure")
refused(lambda: backend.run(["FOO Q0"], 100), "line 1", "FOO")
refused(lambda: backend.run(["X Q3\nM Q3"], 100), "qubit = 3", "disabled")
refused(lambda: platform.submit(["H Q0\nM Q0"], 100, "tianyan-999"), "tianyan-287")
refused(lambda: platform.get_backend("tianyan-999"), "not found")
