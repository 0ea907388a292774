"""The teacher: trained once, its outputs computed once, both kept by content hash and reused."""

from lpstudy.teacher.bank import Bank
from lpstudy.teacher.compute import ComputedBlock, fill, open_targets, store_of
from lpstudy.teacher.fit import (
    TrainedTeacher,
    check,
    folder_of,
    images_at_once,
    key,
    load_or_train,
    open_teacher,
)
from lpstudy.teacher.online import OnlineTeacher
from lpstudy.teacher.own_input import TeacherInput, input_of, teacher_skeleton, untrained_teacher
from lpstudy.teacher.plan import BankPlan, learns_from_logits, plan_bank
from lpstudy.teacher.store import Block, Store, describe, shares

__all__ = [
    "Bank",
    "BankPlan",
    "Block",
    "ComputedBlock",
    "OnlineTeacher",
    "Store",
    "TeacherInput",
    "TrainedTeacher",
    "check",
    "describe",
    "fill",
    "folder_of",
    "images_at_once",
    "input_of",
    "key",
    "learns_from_logits",
    "load_or_train",
    "open_targets",
    "open_teacher",
    "plan_bank",
    "shares",
    "store_of",
    "teacher_skeleton",
    "untrained_teacher",
]
