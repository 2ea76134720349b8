"""What Optuna and its dashboard see: our rows, shown in its tables; it follows and is never asked."""
