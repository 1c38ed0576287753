"""The selector: which deployments may answer a request, and in what order.

It filters what cannot or may not take the request, ranks the rest by public benchmark scores, price, quota, live
health and latency, and says why. It reads two files, and in Redis what the executors publish.
"""
