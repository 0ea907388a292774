"""The teacher: trained once, its outputs computed once, both kept by content hash and reused."""

from lpstudy.teacher.bank import Bank
from lpstudy.teacher.fill import Filled, fill, open_targets, store_of
from lpstudy.teacher.fit import TeacherFile, check, folder_of, key, obtain, open_teacher
from lpstudy.teacher.online import OnlineTeacher
from lpstudy.teacher.plan import BankPlan, plan_bank
from lpstudy.teacher.store import Block, Store, describe, shares

__all__ = [
    "Bank",
    "BankPlan",
    "Block",
    "Filled",
    "OnlineTeacher",
    "Store",
    "TeacherFile",
    "check",
    "describe",
    "fill",
    "folder_of",
    "key",
    "obtain",
    "open_targets",
    "open_teacher",
    "plan_bank",
    "shares",
    "store_of",
]
