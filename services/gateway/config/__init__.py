"""What operators write into config/lumni.yaml for the gateway: plans and switches."""
