"""What differs and what to do about it: pure, without thread, clock, network or file."""
