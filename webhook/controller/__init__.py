"""`nonroot operate`: the one controller. It maintains certificates, statuses, reports and the stored identities.

It writes nothing that its RBAC does not name, and nothing where nothing has changed.
"""

import gc

from webhook.controller.settings import OperateSettings


def run(settings: OperateSettings) -> None:
    """Operate until SIGTERM or SIGINT; `InvalidSetting` where the settings cannot be used."""
    settings.check()
    gc.disable()  # as in `nonroot serve`
    from webhook.controller.manager import main  # kopf and kubernetes: half a second that `nonroot --help` never needs

    gc.freeze()
    gc.enable()
    main(settings)
