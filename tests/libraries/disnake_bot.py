"""disnake: what a bot usually does, against the server at DISCORD_API_URL."""

import os

import disnake
from disnake.ext import commands

disnake.http.Route.BASE = os.environ["DISCORD_API_URL"]

bot = commands.InteractionBot(intents=disnake.Intents.default())


@bot.slash_command(description="Greets")
async def hello(interaction: disnake.ApplicationCommandInteraction, name: str) -> None:
    await interaction.response.send_message(f"hello {name}")


@bot.slash_command(description="Does what bots do")
async def work(interaction: disnake.ApplicationCommandInteraction) -> None:
    await interaction.response.defer()
    async with interaction.channel.typing():
        message = await interaction.channel.send("first")
    await message.edit(content="second")
    await message.add_reaction("👍")
    fetched = await interaction.channel.fetch_message(message.id)
    assert fetched.content == "second"
    assert [str(each.emoji) for each in fetched.reactions] == ["👍"]
    assert [user.id async for user in fetched.reactions[0].users()] == [bot.user.id]
    assert [each.content async for each in interaction.channel.history(limit=1)] == ["second"]
    await message.remove_reaction("👍", bot.user)
    await message.delete()
    await interaction.edit_original_response(content="done")
    followup = await interaction.followup.send("more", wait=True)
    await followup.edit(content="more, edited")
    await followup.delete()


bot.run(os.environ["DISCORD_BOT_TOKEN"])
