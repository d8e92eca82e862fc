"""What DINOv2's checkpoints with four registers need of the encoder beside those without."""
registers = dict(
    prefix_tokens=('register_1', 'register_2', 'register_3', 'register_4'), interpolate_offset=0.0,
    interpolate_antialias=True)
