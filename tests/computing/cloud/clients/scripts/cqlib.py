# ruff: noqa: F821 - it follows the program in the documents, whose names it uses.
import json
import logging

from cqlib import GuoDunPlatform
from cqlib.circuits import Circuit
from cqlib.mapping import transpile_qcis
from expecting import correlated, mostly, refused

logging.getLogger("cqlib").setLevel(logging.CRITICAL)
BELL = "H Q0\nH Q6\nCZ Q0 Q6\nH Q6\nM Q0 Q6"
KEY = os.environ["TIANDI_CLOUD_KEY"]

correlated(json.loads(result["probability"]))
assert result["resultStatus"][0] == [0, 6]
assert len(result["resultStatus"]) == 1001


class GuoDun(GuoDunPlatform):
    SCHEME, DOMAIN = Platform.SCHEME, Platform.DOMAIN


for kind in (Platform, GuoDun):
    refused(lambda kind=kind: kind("f" * 64), "Login failed")
    platform = kind(KEY, machine_name="tianyan176")
    machines = {row[-1] for row in platform.query_quantum_computer_list()}
    assert {"tianyan176", "tianyan-287"} <= machines, machines
    assert "origin-wukong" not in machines

    configuration = platform.download_config()
    assert configuration["disabledQubits"] == "Q3"
    assert len(configuration["overview"]["coupler_map"]) == 110

    # The order of bits is that of the measurements.
    tasks = platform.submit_job(["X Q0\nM Q6 Q0", "X Q0\nM Q0 Q6"], num_shots=200)
    first, second = platform.query_experiment(tasks, sleep_time=0.1)
    assert first["resultStatus"][0] == [6, 0]
    mostly(json.loads(first["probability"]), "10")  # The qubit measured first is rightmost.
    mostly(json.loads(second["probability"]), "01")
    assert sum(row == [0, 1] for row in first["resultStatus"][1:]) > 140

    lab = platform.create_lab("mine")
    saved = platform.save_experiment(lab, "x q0\nm q0", "flip")
    again = platform.run_experiment(saved, num_shots=50)
    (flipped,) = platform.query_experiment(again, sleep_time=0.1)
    mostly(json.loads(flipped["probability"]), "1")
    assert platform.get_experiment_circuit(again)[0]["qcis"] == "X Q0\nM Q0"
    (task,) = platform.re_execute_task(lab_id=lab)
    assert len(platform.query_experiment(task, sleep_time=0.1)) == 1
    assert len(platform.query_experiment(platform.re_execute_task(query_id=task), sleep_time=0.1)) == 1
    assert platform.qcis_check_regular(BELL)
    assert not platform.qcis_check_regular("FOO Q1")

    refused(lambda p=platform: p.submit_job(BELL, num_shots=1_000_000), "shots = 1000000", "100000")
    refused(lambda p=platform: p.submit_job("H Q0"), "must measure")
    refused(lambda p=platform: p.submit_job("FOO Q0\nM Q0"), "line 1", "FOO")
    refused(lambda p=platform: p.submit_job("X Q3\nM Q3"), "qubit = 3", "disabled")
    refused(lambda p=platform: p.submit_job("CZ Q0 Q1\nM Q0"), "coupler")
    refused(lambda p=platform: p.submit_job(BELL, noise=[{"noise_type": "bit-flip", "params": [0.1]}]), "noise")
    refused(lambda p=platform: p.download_config(machine="tianyan-999"), "computerCode", "tianyan-287")
    refused(lambda p=platform: p.download_config(read_time="2025-01-01 00:00:00"), "readTime")
    platform.set_machine("tianyan-999")
    refused(lambda p=platform: p.submit_job(BELL), "computerCode", "tianyan176")
    platform.set_machine("tianyan176")
    platform.access_token = "an old one"
    assert platform.create_lab("after another login")

refused(lambda: platform.create_waveform_data(BELL), "no pickles")
refused(lambda: platform.stop_running_experiments(query_id=task), "completed")

platform = Platform(KEY, machine_name="tianyan176")
tasks = platform.submit_experiment(["X Q0\nM Q0 Q6"], num_shots=1000)
(raw,) = platform.query_experiment(tasks, sleep_time=0.1)
(calibrated,) = platform.query_experiment(tasks, sleep_time=0.1, readout_calibration=True)
assert calibrated["probability"]["01"] > json.loads(raw["probability"])["01"]

circuit = Circuit(qubits=[0, 1, 2])
circuit.h(0)
circuit.cx(0, 1)
circuit.cx(1, 2)
circuit.measure_all()
mapped = transpile_qcis(circuit.qcis, platform)[0].qcis
(result,) = platform.query_experiment(platform.submit_job(mapped, num_shots=1000), sleep_time=0.1)
shares = json.loads(result["probability"])
assert shares["000"] + shares["111"] > 0.7, shares
