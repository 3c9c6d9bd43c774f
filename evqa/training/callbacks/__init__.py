"""Lightning callbacks: checkpoints that survive interruptions, random numbers without state, speed."""
