"""Three studies, each derived from the one before, by the words of ``write_study``."""

#: Three studies on digits, small enough for a test; the second and third derive from the first.
BROAD = {"name": "broad", "grid": "Values((1e-4, 1e-3, 1e-2))"}
NARROW = {"name": "narrow", "grid": "AroundBest(n=2)", "parent": "broad"}
LAST = {"name": "last", "grid": "Best()", "parent": "narrow", "evaluates_test": True}
