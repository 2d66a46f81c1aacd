"""The brain of the cluster: etcd, the API server, the controllers and the scheduler.

They are the unmodified programs of a release, run as ordinary processes. What their flags
leave at its default (admission plugins above all: Pod Security, service accounts, webhooks)
is then exactly what a production cluster does.
"""

from .api import Api
from .build import program
from .certificates import Authority
from .layout import KUBERNETES_SERVICE, LOOPBACK, NODE, SERVICES, Layout

ETCD = "etcd"
APISERVER = "kube-apiserver"
CONTROLLERS = "kube-controller-manager"
SCHEDULER = "kube-scheduler"


def start_etcd(layout: Layout) -> None:
    """Start the store. It listens on loopback only and keeps nothing that outlives the cluster."""
    peer = f"http://{LOOPBACK}:{layout.port('etcd-peer')}"
    layout.processes.start(
        ETCD,
        [
            program("etcd", "etcd"),
            f"--data-dir={layout.state / 'etcd'}",
            f"--listen-client-urls={layout.etcd}",
            f"--advertise-client-urls={layout.etcd}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",  # losing the store in a power cut loses a test cluster
            "--log-level=warn",
        ],
    )


# What admission has told of Pods and of what makes them: its annotations come with the metadata. And whatever the release
# asks for itself (deploy/release.py has its namespace): what it may do is compared with that.
AUDITED = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {
            "level": "Metadata",
            "verbs": ["create"],
            "resources": [{"group": "", "resources": ["pods"]}, {"group": "apps", "resources": ["deployments"]}],
        },
        {"level": "Metadata", "userGroups": ["system:serviceaccounts:nonroot-system"]},
        {"level": "None"},
    ],
}


def start_apiserver(layout: Layout, authority: Authority) -> Api:
    """Start the API server, and return when it is ready."""
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"]
    names += [
        "kubernetes.default.svc.cluster.local",
        layout.host,
        KUBERNETES_SERVICE,
        LOOPBACK,
    ]
    serving = authority.issue("apiserver", "kube-apiserver", addresses=names)
    to_kubelet = authority.issue("apiserver-to-kubelet", "kube-apiserver", ["system:masters"])
    admin = authority.issue("admin", "admin", ["system:masters"])
    authority.kubeconfig(layout.kubeconfig, layout.apiserver, admin)
    layout.processes.start(
        APISERVER,
        [
            program("kubernetes", "kube-apiserver"),
            f"--etcd-servers={layout.etcd}",
            f"--bind-address={layout.host}",
            f"--advertise-address={layout.host}",
            f"--secure-port={layout.port('apiserver')}",
            f"--cert-dir={layout.pki}",
            f"--tls-cert-file={serving.certificate}",
            f"--tls-private-key-file={serving.key}",
            f"--client-ca-file={authority.pair.certificate}",
            f"--kubelet-client-certificate={to_kubelet.certificate}",
            f"--kubelet-client-key={to_kubelet.key}",
            f"--kubelet-certificate-authority={authority.pair.certificate}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-account-key-file={authority.service_accounts}",
            f"--service-account-signing-key-file={authority.service_accounts}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-cluster-ip-range={SERVICES}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            # Webhook Services resolve to Pod addresses here, without waiting for kube-proxy.
            "--enable-aggregator-routing=true",
            f"--audit-policy-file={layout.write('audit-policy.yaml', AUDITED)}",
            f"--audit-log-path={layout.audit}",
            "--audit-log-maxsize=10",
            "--audit-log-maxbackup=1",
        ],
    )
    api = Api(layout.apiserver, authority, admin)
    layout.processes.wait(APISERVER, lambda: api.answers("/readyz"))
    return api


def start_controllers(layout: Layout, authority: Authority) -> None:
    """Start what turns Deployments into Pods, and what finds a node for each."""
    layout.processes.start(
        CONTROLLERS,
        [
            program("kubernetes", "kube-controller-manager"),
            f"--kubeconfig={_user(layout, authority, 'controller-manager')}",
            f"--root-ca-file={authority.pair.certificate}",
            f"--cluster-signing-cert-file={authority.pair.certificate}",
            f"--cluster-signing-key-file={authority.pair.key}",
            f"--service-account-private-key-file={authority.service_accounts}",
            "--use-service-account-credentials=true",
            "--leader-elect=false",
            "--secure-port=0",
        ],
    )
    layout.processes.start(
        SCHEDULER,
        [
            program("kubernetes", "kube-scheduler"),
            f"--kubeconfig={_user(layout, authority, 'scheduler')}",
            "--leader-elect=false",
            "--secure-port=0",
        ],
    )


def _user(layout: Layout, authority: Authority, component: str) -> str:
    """Credentials under the name that the API server's built-in roles are bound to."""
    pair = authority.issue(component, f"system:kube-{component}")
    path = layout.config / f"{component}.kubeconfig"
    return authority.kubeconfig(path, layout.apiserver, pair)


def node_credentials(layout: Layout, authority: Authority) -> str:
    """Credentials that the Node authorizer recognises as those of our one node."""
    pair = authority.issue("kubelet", f"system:node:{NODE}", ["system:nodes"])
    return authority.kubeconfig(layout.config / "kubelet.kubeconfig", layout.apiserver, pair)
