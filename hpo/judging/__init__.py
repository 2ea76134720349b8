"""Who is best and how sure that is: pure functions of results and bits."""
