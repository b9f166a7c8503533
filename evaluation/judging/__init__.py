"""Judges: rubrics, single and paired judgements, and how far a judge agrees with people."""
