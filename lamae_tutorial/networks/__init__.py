"""Networks: plain modules that do not know any detector."""
