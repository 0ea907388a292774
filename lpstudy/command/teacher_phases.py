"""The phases of a sweep before its runs: the teacher, and its outputs."""

from contextlib import nullcontext
from dataclasses import asdict, dataclass

from lpstudy import study, terminal
from lpstudy.command.estimated_spending import kept_estimate
from lpstudy.command.faults import FaultError, fault
from lpstudy.command.phase_progress import PhaseProgress, follow_bank, follow_teacher
from lpstudy.command.prepare import PreparedStudy
from lpstudy.command.provenance import EARLIER_TEACHERS, data_facts, earlier_teachers, provenance
from lpstudy.command.shared_spending import SharedSpending
from lpstudy.command.study_session import StudySession
from lpstudy.command.study_words import bank_words, teacher_lines
from lpstudy.disk import StorageError
from lpstudy.ledger import ESTIMATE, Ledger, phase_rows
from lpstudy.study import Backend, StudyInputs, TaskError
from lpstudy.teacher import TrainedTeacher
from lpstudy.training import DivergedError


@dataclass
class TeacherPhases:
    """The training of a study's teachers and the computation of their outputs, each once."""

    prepared: PreparedStudy
    backend: Backend
    session: StudySession
    ledger: Ledger

    def run(self, inputs: StudyInputs, command: str) -> TrainedTeacher:
        """Train the teacher of the search, compute its outputs, and store what both are and cost.

        Args:
            inputs: What the search computes from.
            command: The command line that is part of the provenance.
        """
        ledger, session = self.ledger, self.session
        session.state = {"state": "teacher"}
        teacher, is_new = session.retry_after_pause(lambda: self.train_teacher(inputs))
        words = provenance(self.prepared, teacher, self.backend, command)
        if ledger.ended_runs and (earlier := earlier_teachers(ledger.facts, teacher)):
            words[EARLIER_TEACHERS] = earlier
            terminal.warn(
                f"earlier runs learned from another teacher ({earlier}): LPSTUDY_CACHE has it no more;"
                " bring it back, or give --fresh, before arms are compared"
            )
        ledger.set_fact("data", data_facts(self.prepared))
        ledger.set_fact("teacher", {k: v for k, v in asdict(teacher).items() if k != "folder"})
        ledger.set_fact("provenance", words)
        gpus = self.backend.resources.gpus_per_trial
        if ESTIMATE not in ledger.facts and (rows := kept_estimate(self.prepared, gpus=gpus)):
            ledger.set_fact(ESTIMATE, phase_rows(rows))
        self._compute_outputs(inputs, teacher, is_new=is_new)
        return teacher

    def with_outputs(self, inputs: StudyInputs) -> TrainedTeacher:
        """Train another teacher and compute its outputs, or find them in the cache, and store their cost."""
        self.session.state = {"state": "teacher"}
        teacher, is_new = self.session.retry_after_pause(lambda: self.train_teacher(inputs))
        self._compute_outputs(inputs, teacher, is_new=is_new)
        return teacher

    def _compute_outputs(self, inputs: StudyInputs, teacher: TrainedTeacher, *, is_new: bool) -> None:
        session = self.session
        spending = SharedSpending(
            self.ledger, teacher, lambda: study.bank_spending(inputs, teacher, self.backend)
        )
        spending.note_teacher(is_new=is_new)
        session.state = {"state": "bank"}
        with spending.of_bank() if inputs.plan.banked_outputs else nullcontext():
            session.retry_after_pause(lambda: self.fill_bank(inputs, teacher))

    def train_teacher(self, inputs: StudyInputs) -> tuple[TrainedTeacher, bool]:
        """Train a teacher or find it in the cache, with progress; and whether this start has trained it.

        Raises:
            FaultError: The teacher diverged, cannot be trained on the nodes, or lost its process too often.
            PausedError: The study must not continue.
            StorageError: A checkpoint cannot be written, or the cache cannot be read.
        """
        progress = PhaseProgress()
        progress.begin("teacher: starting its process" if self.backend.starting else "teacher: starting")
        try:
            teacher = None
            while teacher is None:  # a pause ends its task even if it is revoked
                epochs = self.backend.train_teacher(inputs, self.session.control)
                teacher = follow_teacher(epochs, progress, self.prepared.spec.teacher.epochs)
        except DivergedError as error:
            raise FaultError(f"the teacher diverged: {error}; lower [teacher] learning_rate") from error
        except StorageError:
            raise
        except (TaskError, ValueError, OSError) as error:
            raise fault(error, "the teacher") from error
        is_new = progress.has_shown
        for line in teacher_lines(teacher, self.prepared):
            progress.say(line)
        return teacher, is_new

    def fill_bank(self, inputs: StudyInputs, teacher: TrainedTeacher) -> None:
        """Compute the teacher's outputs or find them in the cache, with progress.

        Raises:
            FaultError: The disk is too small, an output exceeds the bank's number format, or processes were
                lost too often.
            PausedError: The study must not continue.
            StorageError: The cache cannot be written or read.
        """
        progress = PhaseProgress()
        progress.say(f"teacher's outputs: {bank_words(self.prepared.plan)}")
        if not self.prepared.plan.banked_outputs:
            return
        try:
            follow_bank(study.fill_bank(inputs, teacher, self.backend, self.session.control), progress)
        except StorageError:
            raise
        except (TaskError, ValueError, OSError) as error:
            raise fault(error, "the teacher bank") from error
