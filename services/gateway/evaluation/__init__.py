"""`lumni evaluate`: tasks through the running gateway, graded answers, and measured scores for the selector."""
