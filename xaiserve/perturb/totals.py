"""What an engine has done since it began, for those who watch it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums since the engine began; they never fall.

    Parameters
    ----------
    model_inputs
        Rows that the model has scored.
    repeated_questions
        Rows answered from what their plan had asked before.
    batches
        Batches begun.
    room
        Rows that those batches could have held.
    device_seconds
        Time in the model.
    """

    model_inputs: int = 0
    repeated_questions: int = 0
    batches: int = 0
    room: int = 0
    device_seconds: float = 0.0

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(
            model_inputs=self.model_inputs + other.model_inputs,
            repeated_questions=self.repeated_questions + other.repeated_questions,
            batches=self.batches + other.batches,
            room=self.room + other.room,
            device_seconds=self.device_seconds + other.device_seconds,
        )

    def __sub__(self, other: "Totals") -> "Totals":
        return Totals(
            model_inputs=self.model_inputs - other.model_inputs,
            repeated_questions=self.repeated_questions - other.repeated_questions,
            batches=self.batches - other.batches,
            room=self.room - other.room,
            device_seconds=self.device_seconds - other.device_seconds,
        )
