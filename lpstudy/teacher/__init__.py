"""The teacher: trained once, its outputs computed once, both cached by content hash."""

from lpstudy.teacher.bank import Bank
from lpstudy.teacher.bank_plan import BankPlan, BegunOutputs, learns_from_logits, plan_bank
from lpstudy.teacher.bank_spending import add_bank_spending, read_bank_spending
from lpstudy.teacher.compute import (
    ComputedBlock,
    bank_store,
    compute_blocks,
    metered,
    open_teacher_outputs,
)
from lpstudy.teacher.fit import (
    TrainedTeacher,
    check_teacher,
    load_or_train,
    open_teacher,
    teacher_chunk_size,
)
from lpstudy.teacher.online import OnlineTeacher
from lpstudy.teacher.shift_accuracy import measured
from lpstudy.teacher.store import Block, Store, bank_origin, deal_blocks
from lpstudy.teacher.teacher_input import TeacherInput, input_of, teacher_skeleton, untrained_teacher
from lpstudy.teacher.teacher_key import teacher_folder, teacher_key, teaching_data

__all__ = [
    "Bank",
    "BankPlan",
    "BegunOutputs",
    "Block",
    "ComputedBlock",
    "OnlineTeacher",
    "Store",
    "TeacherInput",
    "TrainedTeacher",
    "add_bank_spending",
    "bank_origin",
    "bank_store",
    "check_teacher",
    "compute_blocks",
    "deal_blocks",
    "input_of",
    "learns_from_logits",
    "load_or_train",
    "measured",
    "metered",
    "open_teacher",
    "open_teacher_outputs",
    "plan_bank",
    "read_bank_spending",
    "teacher_chunk_size",
    "teacher_folder",
    "teacher_key",
    "teacher_skeleton",
    "teaching_data",
    "untrained_teacher",
]
