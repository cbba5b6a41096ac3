"""What all commands share: how they end, their options, progress, one fate per image, and what they may write."""
