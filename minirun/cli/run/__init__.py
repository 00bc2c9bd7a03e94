"""The options of run and create, and what Docker's client checks of them."""
