"""Several systems on one model: recommendation, search and scores on a shared trunk."""
