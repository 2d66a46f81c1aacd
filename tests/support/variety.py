"""Images, Pods and policies of every kind that rules tell apart, for properties."""

from typing import Any

from hypothesis import strategies as st

from tests.support.images import PASSWD, platform_image
from tests.support.pods import IMAGE
from webhook.image.capabilities import FileCapabilities
from webhook.image.filesystem import Capable, Directory, Special, Survey
from webhook.workload.annotations import ANNOTATION

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
RECORDS = [
    '[{"container":"app","fields":["runAsUser"],"leftOut":["allowPrivilegeEscalation"]},{"pod":true,"fields":["fsGroup"]}]',
    '[{"container": "b", "leftOut": ["capabilities"]}]',
    '[{"container":"b","leftOut":["capabilities"],"more":1}]',
    "no record",
]
PROGRAMS = Survey(
    None,
    (Directory("/app", "workingDirectory", present=True, uid=1000, gid=1000, mode=0o700),),
    (Special("/bin/su", 0, 0, 0o4755), Special("/bin/two words", 0, 0, 0o4755)),
    (Capable("/bin/ping", FileCapabilities(("NET_RAW",), effective=True)),),
)

IMAGES = st.lists(
    st.builds(
        platform_image,
        st.sampled_from(USERS),
        st.sampled_from(PASSWDS),
        st.sampled_from(GROUPS),
        platform=st.sampled_from(PLATFORMS),
        unknown=st.sampled_from([None, None, None, "unreachable"]),
        survey=st.sampled_from([None, PROGRAMS]),
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
    "spec.containers.0.name": ["b", "web-1", "a" * 63, "istio-init", "No-Label", "\U00020000"],
    "spec.containers.0.command": [["true"], ["sh", "-c", "exec ping registry"], ["/bin/two words"], ["x" * 300]],
    "spec.containers.0.args": [["--all"], ["su", "app"]],
    "spec.containers.0.workingDir": ["/app", "/srv"],
    "spec.ephemeralContainers": [[{"name": "debug", "image": IMAGE, "targetContainerName": "app"}]],
    "spec.initContainers": [
        [{"name": "init", "image": IMAGE, "command": ["chown", "-R", "1000", "/data"]}],
        [{"name": "b", "image": IMAGE}, {"name": "other", "image": "registry.example/proxyv2:1"}],
    ],
    "spec.os": [{"name": "windows"}],
    "spec.volumes": [[{"name": "token", "projected": {}}], [{"name": "data", "persistentVolumeClaim": {}}]],
    "spec.containers.0.volumeMounts": [[{"name": "data", "mountPath": "/data"}]],
    "metadata.annotations": [
        {"openshift.io/scc": "restricted"},
        *({ANNOTATION: text} for text in RECORDS),
    ],
}
PODS = st.fixed_dictionaries({}, optional={path: st.sampled_from(values) for path, values in TWEAKS.items()})
POLICIES = st.fixed_dictionaries(
    {},
    optional={
        "inject": st.sampled_from(["Never", "Always"]),
        "rootImages": st.just("Allow"),
    },
)
