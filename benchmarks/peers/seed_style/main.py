"""``uvicorn benchmarks.peers.seed_style.main:app``: POST /api/create-order, orders in a dict, an event for each.

Settings: KAFKA_BOOTSTRAP_SERVERS, SCHEMA_REGISTRY_URL, KAFKA_TOPIC, SEED_SCHEMA (a file).
"""

import os
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException

from benchmarks.peers.seed_style.events import OrderEvents
from benchmarks.peers.seed_style.orders import CreateOrder, Order, make

app = FastAPI(title="CartService")
orders: dict[str, Order] = {}
events = OrderEvents(
    os.environ["KAFKA_BOOTSTRAP_SERVERS"],
    os.environ["SCHEMA_REGISTRY_URL"],
    os.environ["KAFKA_TOPIC"],
    Path(os.environ["SEED_SCHEMA"]),
)


@app.post("/api/create-order", status_code=201)
async def create_order(wanted: CreateOrder) -> dict[str, Any]:
    """Make, keep and publish an order. The event loop stands still until the broker has it, as in the seed."""
    if wanted.orderId in orders:
        detail = f"Order with ID '{wanted.orderId}' already exists"
        raise HTTPException(400, {"success": False, "error": "Validation Error", "details": detail})
    order = orders[wanted.orderId] = make(wanted)
    try:
        events.publish(order)
    except Exception as failure:
        raise HTTPException(503, {"success": False, "error": "Service Unavailable", "details": str(failure)}) from None
    message = f"Order '{order.orderId}' created successfully"
    return {"success": True, "message": message, "data": order.model_dump()}


@app.get("/health")
async def health() -> dict[str, str]:
    """It runs."""
    return {"status": "healthy", "service": "CartService"}
