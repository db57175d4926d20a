"""Process gathers by pure, differentiable operations that predicted and observed data go through alike."""
