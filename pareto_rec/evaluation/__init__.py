"""Where training meets objectives: lists, their cost, and what is measured on them."""
