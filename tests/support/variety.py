"""Images, Pods and policies of every kind that rules tell apart, for properties."""

from typing import Any

from hypothesis import strategies as st

from tests.support.images import PASSWD, platform_image

PASSWDS = [
    *[PASSWD] * 6,
    None,
    PASSWD + "other:x:1000:7::/:/bin/sh\n",
    "first:x:1000:7::/:/bin/sh\n" + PASSWD,
    "app:x:1000:-1::/:/bin/sh\n",
    "app:x:4294967296:1::/:/bin/sh\n",
    "app:x:70000:1::/:/bin/sh\n",
]
GROUPS = [None, "shared:x:9:app\n", "shared:x:9:first\n", "huge:x:4294967295:app\n"]
USERS = [*["app"] * 6, "", "0", "root", "ghost", "1000", "7", "-1", "4294967296", "app:shared", "99999999999999999999"]
PLATFORMS = ["linux/amd64", "linux/arm64", "windows/amd64"]

IMAGES = st.lists(
    st.builds(
        platform_image,
        st.sampled_from(USERS),
        st.sampled_from(PASSWDS),
        st.sampled_from(GROUPS),
        platform=st.sampled_from(PLATFORMS),
        unknown=st.sampled_from([None, None, None, "unreachable"]),
    ),
    min_size=1,
    max_size=3,
)
TWEAKS: dict[str, list[Any]] = {
    "spec.securityContext.runAsUser": [0, 5],
    "spec.securityContext.runAsGroup": [0, 5],
    "spec.securityContext.runAsNonRoot": [True, True, False],
    "spec.securityContext.supplementalGroupsPolicy": ["Strict"],
    "spec.containers.0.securityContext.runAsUser": [0, 70000],
    "spec.hostUsers": [False],
    "spec.os": [{"name": "windows"}],
    "spec.volumes": [[{"name": "token", "projected": {}}], [{"name": "data", "persistentVolumeClaim": {}}]],
    "spec.containers.0.volumeMounts": [[{"name": "data", "mountPath": "/data"}]],
    "metadata.annotations": [{"openshift.io/scc": "restricted"}],
}
PODS = st.fixed_dictionaries({}, optional={path: st.sampled_from(values) for path, values in TWEAKS.items()})
POLICIES = st.fixed_dictionaries(
    {},
    optional={
        "inject": st.sampled_from(["Never", "Always"]),
        "rootImages": st.just("Allow"),
    },
)
