"""The teacher, the students and the methods of the synthetic study of the report's tests."""

from lpstudy.tables import TeacherFacts

METHODS = ("bp", "kd", "fitnet", "lp", "lp_kd")
GAINS = {"bp": 0.0, "kd": 0.9, "fitnet": 0.1, "lp": 0.25, "lp_kd": 1.1}
STUDENTS = {
    "convnet-d4-w8": ("convnet", 4, 8, 24_616, 1_210_000, 88.4),
    "convnet-d4-w16": ("convnet", 4, 16, 97_072, 4_630_000, 90.9),
}
RANGES = {
    "bp": {},
    "kd": {"weight": "0.05 to 2 (log)", "temperature": "1 to 6"},
    "fitnet": {"hint_weight": "0.01 to 10 (log)", "kd_end_fraction": "0.25 to 1"},
    "lp": {"gamma": "0.0001 to 0.1 (log)", "n_neighbors": "1, 3, 5 or 8", "bandwidth": "0.25 to 2 (log)"},
    "lp_kd": {"gamma": "0.0001 to 0.1 (log)", "n_neighbors": "1, 3, 5 or 8", "weight": "0.05 to 2 (log)"},
}
TEACHER = TeacherFacts(
    label="convnet-d6-w64",
    test_accuracy=93.4,
    parameters=1_928_010,
    macs=110_400_000,
    training_macs=3.2e14,
    seed=0,
    weights_hash="9f2c41d07be1",
    run_id="teacher0run",
    family="convnet",
    depth=6,
    width=64,
)
