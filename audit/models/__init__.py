"""Who is asked: encoders, small architectures, training."""
