# ruff: noqa: F821 - it follows the program in the documents, whose names it uses.
from expecting import correlated, mostly, refused
from pyqpanda3.core import CPUQVM, X
from pyqpanda3.qcloud import JobStatus, QCloudJob
from pyqpanda3.transpilation import Transpiler

correlated(result.get_counts())
assert sum(result.get_counts().values()) == 1000
corrected = result.get_probs()
correlated(corrected)
assert corrected["00"] + corrected["11"] > (result.get_counts()["00"] + result.get_counts()["11"]) / 1000

assert service.backends()["origin-wukong"]
chip = backend.chip_info()
assert (chip.qubits_num(), len(chip.available_qubits())) == (72, 71)
assert len(chip.get_chip_topology()) == 123
assert 0.8 < chip.single_qubit_info()[0].get_readout_fidelity() < 1
assert chip.get_single_gate_timing() > 0
assert chip.get_double_gate_timing() > 0

direct = QCloudOptions()
direct.set_mapping(False)
direct.set_amend(False)
flip = QProg()
flip << X(0) << measure(0, 2) << measure(1, 1) << measure(2, 0)
local = CPUQVM()
local.run(flip, 10)
assert local.result().get_counts() == {"100": 10}
job = backend.run([flip, program], 200, direct)
first, second = job.result().get_counts_list()
mostly(first, "100", 0.5)
correlated(second)
assert QCloudJob(job.job_id()).status() == JobStatus.FINISHED
assert not job.cancel()

(best,) = backend.best_qubit_blocks(4).qubit_blocks
assert len(set(best)) == 4
assert 3 not in best
mapped = Transpiler().transpile(program, backend.chip_backend(), {}, 2)
correlated(backend.run([mapped], 200, direct).result().get_counts())

refused(lambda: QCloudService(api_key="f" * 64, url="http://127.0.0.1:8500").backends(), "401", "API key is not known")
service = QCloudService(api_key=os.environ["TIANDI_CLOUD_KEY"], url="http://127.0.0.1:8500")
backend = service.backend("origin-wukong")
broken, silent = QProg(), QProg()
broken << X(3) << measure(3, 0)
silent << X(0)
far = QProg()
far << CNOT(0, 71) << measure(0, 0)
refused(lambda: backend.run([broken], 100, direct), "qubit = 3", "disabled")
refused(lambda: backend.run([far], 100, direct), "coupler")
refused(lambda: backend.run([silent], 100, direct), "must measure")
refused(lambda: backend.run([program], 1_000_000, direct), "shots = 1000000", "10000")
refused(lambda: backend.run([program], 100, direct, True), "binary programs")
refused(lambda: backend.run_instruction("[]", 100, direct), "instruction lists")
refused(lambda: service.backend("WK_C999").run([program], 100, direct), "ChipID", "origin-wukong")
refused(lambda: service.backend("full_amplitude").run(program, 100), "QMachineType")
assert QCloudJob("0" * 32).status() == JobStatus.FAILED
