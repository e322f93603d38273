"""What methods share: images, backbones, training, synthetic defects. The home of torch."""
