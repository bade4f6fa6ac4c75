# ruff: noqa: F821 - it follows the program in the documents, whose names it uses.
import logging

from cqlib_adapter.qiskit_ext import TianYanSampler
from expecting import correlated, mostly, refused

logging.getLogger("cqlib").setLevel(logging.CRITICAL)
correlated(counts)
provider = TianYanProvider(os.environ["TIANDI_CLOUD_KEY"], load_dotenv=False)
assert {backend.name for backend in provider.backends()} >= {"tianyan176", "tianyan-287"}
assert backend.target.num_qubits == 66
assert (3,) not in backend.target["x2p"]
assert len(backend.target["cz"]) == 2 * 108
assert backend.target.qubit_properties[0].t1 > 1e-6

turned = QuantumCircuit(2, 2)
turned.x(0)
turned.measure(1, 0)
turned.measure(0, 1)
mostly(TianYanSampler(backend).run([turned], shots=300).result()[0].data.c.get_counts(), "10")

refused(lambda: TianYanProvider("f" * 64, load_dotenv=False), "Login failed")
refused(lambda: provider.backend("tianyan-999"), "not found")
refused(lambda: backend.run(turned, shots=1_000_000), "shots = 1000000", "100000")
