"""What a study may do wrong."""


class StudyError(TypeError, ValueError):
    """A study is not as it must be: `simulate` returns no arrays by name, a claim asks for what is not there."""
