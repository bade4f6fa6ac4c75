# ruff: noqa: F821 - it follows the program in the documents, whose names it uses.
import logging

from expecting import correlated, mostly, refused

logging.getLogger("cqlib").setLevel(logging.CRITICAL)
correlated(task.results())
device = apis.get_device("tianyan::tianyan176")
assert "tianyan::tianyan-287" in {str(each) for each in apis.list_devices()}
properties = device.list_properties()
assert len(properties["links"]) == 220
assert 0 < properties["links"][0, 6]["CZErrRate"] < 0.1
assert properties["bits"][0]["ReadoutF0Err"] < 0.2


def ended(task):
    while task.state() == "pending":
        time.sleep(0.1)
    return task.details()


# Partial measurements in an order of their own (tensorcircuit-ng, pull request 127): the order comes back beside the counts.
for order, string in (((6, 0), "01"), ((0, 6), "10"), ((12, 0, 6), "010"), ((6, 12, 0), "001")):
    circuit = tc.Circuit(13)
    circuit.x(0)
    for qubit in order:
        circuit.measure_instruction(qubit)
    details = ended(apis.submit_task(device=device, circuit=circuit, shots=200))
    assert details["measure_order"] == list(order), details
    assert details["shots"] == 200
    mostly(details["results"], string, 0.6)

batch = apis.submit_task(device=device, circuit=[circuit, circuit], shots=50)
assert [ended(each)["state"] for each in batch] == ["completed"] * 2
assert ended(apis.resubmit_task(batch[0]))["state"] == "completed"

broken = tc.Circuit(4)
broken.x(3)
broken.measure_instruction(3)
refused(lambda: apis.submit_task(device=device, circuit=broken, shots=50), "qubit 3", "unavailable")
refused(lambda: apis.submit_task(device=device, source="X Q3\nM Q3", shots=50), "qubit = 3", "disabled")
refused(lambda: apis.submit_task(device=device, source="FOO Q1", shots=50), "line 1", "FOO")
refused(lambda: apis.submit_task(device=device, source="H Q0", shots=50), "must measure")
refused(lambda: apis.submit_task(device=device, circuit=circuit, shots=1_000_000), "shots = 1000000")
refused(lambda: apis.submit_task(device="tianyan::tianyan-999", source="H Q0\nM Q0", shots=50), "tianyan-287")
apis.set_token("f" * 64, provider="tianyan", cached=False)
refused(apis.list_devices, "Login failed")
