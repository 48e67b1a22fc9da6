"""Load and faults for minutes: every accepted request gets one right answer, or one clear refusal."""
