# Terraform and OpenTofu: the chart from a clone of this repository, and one namespace that is enforced.
#
# Checked: the syntax, and that every value is one of the chart's. It was not applied.
terraform {
  required_version = ">= 1.5"
  required_providers {
    helm = {
      source  = "hashicorp/helm"
      version = "~> 3.0"
    }
    kubernetes = {
      source  = "hashicorp/kubernetes"
      version = "~> 2.30"
    }
  }
}

variable "registry" {
  description = "The registry that the image was pushed to, such as registry.example.com/team."
  type        = string
}

variable "digest" {
  description = "The digest of the image, sha256:…, so that a new build is a new rollout."
  type        = string
}

resource "helm_release" "nonroot" {
  name             = "nonroot"
  namespace        = "nonroot-system"
  create_namespace = true
  chart            = "${path.module}/../../charts/nonroot-webhook"
  wait             = true

  values = [yamlencode({
    image = {
      registry = var.registry
      digest   = var.digest
    }
    replicaCount = 3
  })]
}

resource "kubernetes_labels" "shop" {
  api_version = "v1"
  kind        = "Namespace"
  metadata {
    name = "shop"
  }
  labels = {
    "nonroot.dev/mode" = "enforce"
  }
  depends_on = [helm_release.nonroot]
}
