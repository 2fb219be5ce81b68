"""JupyterLab in the stack: a token instead of a password, read from a secret file so that no process list shows it."""

from pathlib import Path

c = get_config()  # type: ignore[name-defined]  # noqa: F821 - given by Jupyter

c.ServerApp.ip = "0.0.0.0"  # noqa: S104 - the port is published on loopback unless .env opens it
c.ServerApp.port = 8888
c.ServerApp.port_retries = 0
c.ServerApp.open_browser = False
c.ServerApp.root_dir = "/onsight"
c.LabApp.default_url = "/lab/tree/services/jupyter/start_here.ipynb"
c.IdentityProvider.token = Path("/run/secrets/jupyter_token").read_text(encoding="utf-8").strip()
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
