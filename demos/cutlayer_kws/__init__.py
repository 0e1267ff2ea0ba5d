"""The keyword-spotting demo."""
