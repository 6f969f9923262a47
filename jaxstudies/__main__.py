"""`python -m jaxstudies`, see `jaxstudies.commands.main`."""

from jaxstudies.commands.main import main

if __name__ == "__main__":
    main()
